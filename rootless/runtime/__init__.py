"""Makes and joins container processes: a plan of operations (`plan`), and the stages that run it (`stages`,
`join`). No trio, no threads, no network. Ring 1.
"""
