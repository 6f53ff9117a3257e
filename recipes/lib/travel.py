"""A small railway as tools, and whether an answer called them in the shape that was asked for.

What the tools give follows from their arguments alone, so that the same question has the same answer.
"""

from datetime import date
from hashlib import sha256
from typing import NotRequired, TypedDict

TOWNS = ("Aalden", "Brooksea", "Cairnmoor", "Dunhaven", "Elmstead", "Fairwick")


class Train(TypedDict):
    train: str
    leaves: str
    arrives: str
    fare: float


class Call(TypedDict):
    name: str
    arguments: dict[str, object]
    message: NotRequired[int]
    result: NotRequired[object]
    fault: NotRequired[str]


def find_trains(start: str, goal: str, day: str) -> list[Train]:
    """Finds the trains between two towns on a day.

    start: the town it leaves from
    goal: the town it goes to
    day: as YYYY-MM-DD
    """
    _check(day, start, goal)
    if start == goal:
        raise ValueError("start and goal are one town")
    found: list[Train] = []
    for number in range(3):
        drawn = _number(start, goal, day, str(number))
        hour, minute, takes = 6 + 5 * number + drawn % 4, drawn % 12 * 5, 50 + drawn % 70
        end = hour * 60 + minute + takes
        found.append(
            {
                "train": f"R{drawn % 900 + 100}",
                "leaves": f"{hour:02}:{minute:02}",
                "arrives": f"{end // 60:02}:{end % 60:02}",
                "fare": round(12 + drawn % 40 * 0.5, 2),
            }
        )
    return found


def weather(town: str, day: str) -> dict[str, object]:
    """The weather in a town on a day.

    town: its name
    day: as YYYY-MM-DD
    """
    _check(day, town)
    drawn = _number(town, day)
    return {
        "town": town,
        "day": day,
        "sky": ("clear", "cloudy", "rain", "fog")[drawn % 4],
        "degrees": 3 + drawn % 20,
    }


def book_seat(train: str, day: str, passengers: int, calls: list[Call]) -> dict[str, object]:
    """Books seats on a train that was found before.

    train: its number, such as R214
    day: as YYYY-MM-DD
    passengers: how many seats
    """
    _check(day)
    if not 1 <= passengers <= 6:
        raise ValueError("one booking has 1 to 6 seats")
    if train not in _found(calls):
        raise LookupError(f"no train {train} was found: look for trains first")
    return {
        "booking": f"B{_number(train, day) % 9000 + 1000}",
        "train": train,
        "day": day,
        "seats": passengers,
    }


def shaped(calls: list[Call], shape: str) -> str | None:
    """Whether the calls of an answer have a shape: single, parallel, chained, none or missing."""
    if any("fault" in call for call in calls):
        return "calls a tool wrongly"
    messages = {call.get("message", number) for number, call in enumerate(calls)}
    match shape:
        case "single":
            return None if len(calls) == 1 else f"makes {len(calls)} calls where one is needed"
        case "parallel":
            return None if len(calls) > 1 and len(messages) == 1 else "makes no calls side by side"
        case "chained":
            booked = any(call["name"] == "book_seat" for call in calls)
            return None if booked and len(messages) > 1 else "books nothing that it found"
    return f"calls {calls[0]['name']} where nothing is to be looked up" if calls else None


def asks_back(text: str, shape: str) -> str | None:
    """Whether an answer asks for what is missing."""
    return "does not ask for what is missing" if shape == "missing" and "?" not in text else None


def says(text: str, shape: str, start: str, goal: str, day: str) -> str | None:
    """Whether a question has what its shape needs, and not what it leaves out."""
    if shape == "missing":
        return "says the day, which was to be left out" if day in text else None
    if shape == "none":
        return None
    lacking = [each for each in (goal, day) if each not in text]
    if shape == "chained" and start not in text:
        lacking.append(start)
    return f"leaves out {' and '.join(lacking)}" if lacking else None


def _found(calls: list[Call]) -> set[object]:
    found: set[object] = set()
    for call in calls:
        result = call.get("result")
        if call["name"] == "find_trains" and isinstance(result, list):
            found |= {each["train"] for each in result}
    return found


def _check(day: str, *towns: str) -> None:
    date.fromisoformat(day)
    for town in towns:
        if town not in TOWNS:
            raise LookupError(f"there is no station in {town}; there are {', '.join(TOWNS)}")


def _number(*parts: str) -> int:
    return int.from_bytes(sha256("\0".join(parts).encode()).digest()[:4], "big")
