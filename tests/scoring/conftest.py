"""What scoring is tested with: maps made up, scored as a run would."""

from scored_maps import counting as counting
from scored_maps import desk as desk
from scored_maps import drawn as drawn
from scored_maps import grey as grey
from scored_maps import summing as summing
