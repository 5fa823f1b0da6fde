"""From a folder of recordings to padded batches; nothing here knows a model."""
