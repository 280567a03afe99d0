"""Speed, memory and error of every operator and back end, and of whole layers against straightforward ones.

``grid`` names the problems, ``problems`` makes them, ``ssm_models.layers.naive`` holds the layer without any of our
forms, ``measure`` runs, ``report`` writes.
"""
