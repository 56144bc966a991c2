"""llama-server for the tests: MODEL PORT CONTEXT; prints its address, ends with its input."""

import sys

import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.hostnames = ["127.0.0.1"]
params.port = int(sys.argv[2])
params.n_ctx = int(sys.argv[3])
params.n_parallel = 1
params.cpuparams.n_threads = 1
server = xllamacpp.Server(params)  # returns once the model is loaded
print(server.listening_address, flush=True)
sys.stdin.read()
