"""The built Python guest of cloche; `cloche_guest` finds it here. There is no code in this package."""
