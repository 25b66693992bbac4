"""The shipped use case: which card payments are fraudulent."""
