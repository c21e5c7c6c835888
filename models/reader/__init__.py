"""From committed shards to batches: what is there (corpus), what comes when (order), where its bytes are
(store), what is in them (fields), and who carries it (loader)."""
