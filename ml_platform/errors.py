"""The one error that is for people: what they can mend themselves."""


class UserError(Exception):
    """Something the person who asked for it can mend; the message says what and how."""
