import os

PAGE = 4096
memory = bytearray(4 << 20)  # the parent writes every page...
for page in range(0, len(memory), PAGE):
    memory[page] = 1

children = []
for worker in range(4):
    child = os.fork()  # ...four workers share them all...
    if child == 0:
        for page in range(worker * PAGE, len(memory), 4 * PAGE):
            memory[page] = 2 + worker  # ...and each copies a quarter by writing
        os._exit(sum(memory[::PAGE]) & 0x7F)
    children.append(child)
for child in children:
    os.waitpid(child, 0)
for page in range(0, len(memory), PAGE):
    memory[page] = 9
