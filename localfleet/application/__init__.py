"""The demo's SaaS: a Django application that serves every instance and has RAINBO's support access.

python -m gunicorn localfleet.application.wsgi

Instance 2 is served below /rds2. APPLICATION_DATABASES has its connections as JSON, by instance id,
and APPLICATION_EVENT_SECRETS what RAINBO's events are signed with; {} for none.
"""
