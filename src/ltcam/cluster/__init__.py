"""Archives: very many images judged by shards, each exactly once, on one machine or a cluster."""
