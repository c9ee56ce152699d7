"""The gateway and the emulator in one process: what one needs to try and develop, and what a
production image leaves out.
"""
