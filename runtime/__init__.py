from synth.base.telemetry import switch_off

# Before anything in here imports a library that would tell of its use.
switch_off()
