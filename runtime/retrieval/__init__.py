"""Passages of a folder's documents, in LanceDB, found by words, by vectors or by both.

    index = open_index(source, plan.folder, allowed, open_embedder(spec))
    try:
        report = await index.ingest()           # what changed is read, embedded, written; else nothing
        passages = await index.retrieve("fees", top_k=3, documents=(2, None), variety=ordinal)
        drawn = await index.sample(count=2, about="fees", seed=seed)
    finally:
        await index.close()

`index.version` is the table's version that answers, `index.digest` names its content; `load(version)`
makes an earlier one answer, as exactly.  A passage is a dictionary with id, document, heading, text,
metadata and score, and is JSON.  RetrievalShort is one sample's bad luck; ConfigError and
EngineError are everybody's.
"""
