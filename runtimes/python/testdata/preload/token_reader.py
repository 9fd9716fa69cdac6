import os
token = os.environ.get('WM_TOKEN')
