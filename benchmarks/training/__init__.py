"""The study of surface losses: data, network, training runs, plans of runs, and summaries."""
