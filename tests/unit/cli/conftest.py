from support.scripted_aws import _alone, clock, script, session

__all__ = ["_alone", "clock", "script", "session"]
