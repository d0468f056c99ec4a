"""Files as their authors publish them: opened where they lie, archives included, or downloaded first.

`open_source` gives read access to a folder, to an archive, or to a folder with archives in it; nothing is ever extracted
by name. `download` fetches what a dataset lists as its files. `load_mat` reads MATLAB files. Archives are not trusted:
see `datasets.sources.names` and `datasets.sources.limits` for what is refused.
"""

from datasets.sources.download import download
from datasets.sources.mat import load_mat
from datasets.sources.source import missing, open_source
from datasets.sources.transfer import Patience

__all__ = ["Patience", "download", "load_mat", "missing", "open_source"]
