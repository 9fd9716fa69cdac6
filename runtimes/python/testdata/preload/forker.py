import subprocess
p = subprocess.Popen(['/bin/sleep', '1'])
