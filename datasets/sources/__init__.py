"""Files as their authors publish them: opened where they lie, archives included, or downloaded first.

`open_source` gives read access to a folder, to an archive, or to a folder with archives in it; nothing is ever extracted
by name. `load_mat` reads MATLAB files. `datasets.sources.download` fetches what a dataset lists as its files; it is not
imported here, because it brings a client for HTTP, which every worker of `prepare` would have to load. Archives are not
trusted: see `datasets.sources.names` and `datasets.sources.limits` for what is refused.
"""

from datasets.sources.mat import load_mat
from datasets.sources.source import missing, open_source

__all__ = ["load_mat", "missing", "open_source"]
