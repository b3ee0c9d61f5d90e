"""Programs with libraries of npm's, under glass and in Node.js: the same answers?"""
