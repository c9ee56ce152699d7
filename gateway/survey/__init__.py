"""What a cloud really answers: asked by reads alone, compared with the declarations, and kept
without anything that is the account's.
"""
