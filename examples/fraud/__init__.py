"""Is a payment by card a fraud?"""
