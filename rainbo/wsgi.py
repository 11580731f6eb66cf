import os

from django.core.wsgi import get_wsgi_application

from rainbo.database_timeouts import limit_waiting
from rainbo.startup import refuse_unusable

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rainbo.settings")
application = get_wsgi_application()
refuse_unusable()
limit_waiting()
