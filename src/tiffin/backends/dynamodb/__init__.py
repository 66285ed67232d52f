"""DynamoDB as online store: a table a view, read by ``BatchGetItem``, compared by a ``ConditionExpression``."""
