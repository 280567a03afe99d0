"""One file for each data set, or for a few that share their files; and what several of them share."""
