"""planish in Olive: a package of passes, for `olive run --package-config`."""
