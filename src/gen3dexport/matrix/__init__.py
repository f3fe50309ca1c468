"""A matrix: recipes on targets, each cell built in a process of its own, here or on a Ray cluster, and one report.

cells.py      the cells of a matrix: which recipe on which target, what a plan refuses, the digest of what goes in
tiny.py       tiny recipes of every family, out of a checkout
results.py    what became of a cell
place.py      the folder of a matrix: bundles, logs, what became of each cell
memory.py     how much memory a cell needs, and who may use it when
processes.py  a command in a process of its own: its log, its peak memory, its end
one_cell.py   one cell, from its estimate to its bundle in a registry
here.py       the cells on this machine, so many at a time
on_ray.py     the cells on a Ray cluster
progress.py   what is said while cells are built
tables.py     the report as Markdown
page.py       the report as a page; junit.py: as JUnit XML
"""
