"""Which resource stands under which key."""
