"""What calls cost: prices, tokens counted here, estimates before a run and the bound during one."""
