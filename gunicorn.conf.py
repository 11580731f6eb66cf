"""gunicorn reads this file from its working directory; options of the command line come first."""

# Which proxies are trusted is RAINBO_BEHIND_PROXY alone. By default gunicorn believes
# X-Forwarded-Proto whenever it comes from the loopback address.
forwarded_allow_ips = ""
