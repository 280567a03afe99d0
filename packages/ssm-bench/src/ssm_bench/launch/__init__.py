"""Ways to carry out a plan: in this process, in several local ones, as SLURM arrays.

``cell`` runs one cell and says what became of it. ``local`` does so for a whole plan in this process. ``launched``
keeps a plan in a folder with the code that it shall run; ``worker`` is the process that runs one of its cells,
``supervisor`` starts that process and judges its end. ``workers`` and ``slurm`` decide how many of them run, when and
where.
"""
