-- Which of these commands the user may not run. None is run.
--
-- flags: no-writes,allow-oom
-- KEYS: [1] {namespace}:meta
-- ARGV: whole commands, each with KEY where a key stands
-- RETURN: the names of those that the user may not run with a key of the namespace

local missing = {}
for _, line in ipairs(ARGV) do
  local words = {}
  for word in string.gmatch(line, '%S+') do
    words[#words + 1] = word == 'KEY' and KEYS[1] or word
  end
  -- Of a command that this server does not know, it raises.
  local known, allowed = pcall(redis.acl_check_cmd, unpack(words))
  if not known or not allowed then
    missing[#missing + 1] = words[1]
  end
end
return missing
