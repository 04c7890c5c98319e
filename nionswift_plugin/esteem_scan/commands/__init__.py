"""Commands for the menu, one file each."""
