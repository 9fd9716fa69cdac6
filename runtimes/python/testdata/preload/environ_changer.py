import os
os.environ['X'] = 'x'
