import os
os.chdir('/usr')
