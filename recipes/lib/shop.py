"""A shop's tools and what is checked of its answers.  Each function is plain Python with types: as a tool
its docstring and signature are what the model is told, as a check it gives None or the reason why something
does not hold.
"""

import re
from typing import NotRequired, TypedDict


class Order(TypedDict):
    number: str
    item: str
    price: float
    days_late: int


class Call(TypedDict):
    name: str
    arguments: dict[str, object]
    result: NotRequired[object]
    fault: NotRequired[str]


def lookup_order(number: str, order: Order) -> dict[str, str]:
    """Looks up where an order is.

    number: as it stands on the bill, such as A-1017
    """
    if number != order["number"]:
        raise LookupError(f"there is no order {number}")
    late = order["days_late"]
    state = f"in the van, {late} days late" if late else "in the van, on time"
    return {"number": number, "item": order["item"], "price": f"{order['price']:.2f}", "state": state}


def refund(number: str, amount: float, order: Order, calls: list[Call]) -> dict[str, str]:
    """Pays money back to the customer.

    number: of an order that was looked up before
    amount: in euros, no more than was paid
    """
    if not any(call["name"] == "lookup_order" and "result" in call for call in calls):
        raise PermissionError("look the order up first")
    if number != order["number"]:
        raise LookupError(f"there is no order {number}")
    paid = sum(_amount(call) for call in calls if call["name"] == "refund" and "result" in call)
    if amount + paid > order["price"]:
        raise ValueError(f"{order['price']:.2f} was paid, and {paid:.2f} of it is paid back already")
    return {"number": number, "paid": f"{amount:.2f}"}


def promises_nothing_false(text: str, order: Order) -> str | None:
    if order["days_late"] and re.search(r"\b(today|on time)\b", text, re.IGNORECASE):
        return "promises what the order's state does not say"
    return None


def _amount(call: Call) -> float:
    given = call["arguments"].get("amount")
    return float(given) if isinstance(given, int | float) else 0.0
