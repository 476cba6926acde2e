"""One suite per interface; `SUITE` of each module is a `corekit.testing.check.Suite`."""
