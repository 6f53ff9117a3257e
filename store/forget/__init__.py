"""Forgetting: a log written anew without what somebody wants removed."""
