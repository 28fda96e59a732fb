"""Several devices of one machine train one job: a process for each, through torchrun's launcher.

`launch.py` is in the run's own process and starts `agent.py`, torchrun's agent, which starts a `rank.py` for each device and ends
them all when one has failed. The first rank does what a run does otherwise: it hears commands, records and saves, under the
run's token. The others follow it (`together.py`): they take their part of each batch (`sharing.py`) and its decisions, by the
collectives of `ranks.py`.
"""
