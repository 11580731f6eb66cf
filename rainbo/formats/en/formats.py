"""As everywhere else in the console: by the year first, with the zone (see `common.markup`)."""

DATE_FORMAT = "Y-m-d"
DATETIME_FORMAT = "Y-m-d H:i:s T"
