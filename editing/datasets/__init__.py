"""Facts from data sets as they come. A new data set is a new file here and a row below.

Nothing here imports PyTorch: the front end and the command line read data sets too.
"""

from editing.datasets.counterfact import COUNTERFACT
from editing.datasets.errors import DataSetError, WrongRecord
from editing.datasets.knowedit import KNOWEDIT
from editing.datasets.mquake import MQUAKE
from editing.datasets.plain import PLAIN
from editing.datasets.qaedit import QAEDIT
from editing.datasets.rippleedits import RIPPLEEDITS
from editing.datasets.shape import Shape
from editing.datasets.wikibigedit import WIKIBIGEDIT
from editing.datasets.zsre import ZSRE

SHAPES: dict[str, Shape] = {
    shape.name: shape for shape in (COUNTERFACT, ZSRE, MQUAKE, RIPPLEEDITS, WIKIBIGEDIT, QAEDIT, PLAIN, KNOWEDIT)
}
"""In the order in which a record is looked at: the first that recognises it reads it."""

__all__ = ["SHAPES", "DataSetError", "Shape", "WrongRecord"]
