"""Pipeline stages. Each module is one stage and talks to the others through files of the workspace:

``REQUIRES``                       names of the stages whose results it reads
``Options``                        frozen dataclass of :func:`depthrf.options.option` fields
``Summary``                        frozen dataclass of plain values; becomes ``summary`` in ``records/<stage>.json``
``inputs(workspace, options)``     files and folders whose contents decide the result (with the options)
``outputs(workspace, options)``    files and folders it writes
``run(workspace, options)``        does the work and returns the ``Summary``

``depthrf.pipeline`` decides whether a stage has to run, runs it and writes its record last. Stage modules import heavy
packages inside functions, so that the command line can read their ``Options`` quickly.
"""
