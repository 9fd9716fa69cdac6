import os
everything = dict(os.environ)
