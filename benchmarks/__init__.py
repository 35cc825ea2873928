from depthrf import process

process.tune()  # as the command line does
