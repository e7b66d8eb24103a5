"""What `workspace.yaml` loads: the code location of the contracts and the `ANALYTICS_*` variables of this process."""

import os
from datetime import UTC, datetime

from analytics_platform.contract.load import load_sound
from analytics_platform.defs.location import code_location
from analytics_platform.settings import Settings

settings = Settings.from_env(os.environ)
defs = code_location(*load_sound(settings.contracts), settings, clock=lambda: datetime.now(UTC))
