"""A small railway as tools, and whether an answer called them as it was asked to.

What the tools give follows from their arguments alone, so that the same question has the same answer.
"""

import re
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


def shaped(calls: list[Call], shape: str, start: str, goal: str, day: str) -> str | None:
    """Whether an answer makes the calls that a shape needs: single, parallel, chained, none or missing."""
    trains = {"start": start, "goal": goal, "day": day}
    at_start, at_goal = {"town": start, "day": day}, {"town": goal, "day": day}
    made = [(call["name"], call["arguments"]) for call in calls]
    messages = {call.get("message", number) for number, call in enumerate(calls)}
    match shape:
        case "single":
            return None if made in ([("find_trains", trains)], [("weather", at_goal)]) else _other(made)
        case "parallel":
            both = [("weather", at_start), ("weather", at_goal)]
            if made not in (both, both[::-1]):
                return _other(made)
            return None if len(messages) == 1 else "makes no calls side by side"
        case "chained":
            if [name for name, _ in made] != ["find_trains", "book_seat"] or made[0][1] != trains:
                return _other(made)
            found, booked = calls[0].get("result"), made[1][1]
            first = found[0]["train"] if isinstance(found, list) and found else None
            right = (booked.get("train"), booked.get("day")) == (first, day)
            return None if right and len(messages) == 2 else "does not book the first train that it found"
    return _other(made) if made else None


def asks_back(text: str, shape: str) -> str | None:
    """Whether an answer asks for what is missing: the day and the start."""
    if shape != "missing":
        return None
    asked = " ".join(re.findall(r"[^.!?\n]*\?", text)).lower()
    patterns = {
        "day": r"\b(when|days?|dates?)\b",
        "start": r"\b(where|from|start\w*|towns?|stations?|origin)\b",
    }
    lacking = [each for each, pattern in patterns.items() if re.search(pattern, asked) is None]
    return f"does not ask for the {' and the '.join(lacking)}" if lacking else None


def says(text: str, shape: str, start: str, goal: str, day: str) -> str | None:
    """Whether a question has what its shape needs, and not what it leaves out."""
    if shape == "none":
        return None
    needed = [goal] if shape == "missing" else [goal, day]
    # The weather at the goal is the same wherever one comes from.
    if shape in ("parallel", "chained") or (shape == "single" and "train" in text.lower()):
        needed.append(start)
    if lacking := [each for each in needed if each not in text]:
        return f"leaves out {' and '.join(lacking)}"
    told = [each for each in (start, day) if shape == "missing" and each in text]
    return f"says {' and '.join(told)}, to be left out" if told else None


def _other(made: list[tuple[str, dict[str, object]]]) -> str:
    written = [f"{name}({', '.join(map(str, given.values()))})" for name, given in made]
    return f"calls {', '.join(written) or 'nothing'}, which is not what was asked for"


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
