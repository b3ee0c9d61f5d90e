"""ECMAScript's own tests under glass."""
