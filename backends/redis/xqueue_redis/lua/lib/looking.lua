-- Reading that changes nothing, whatever other clients have put in place of our keys.

-- The answer of a command that reads; nil if the key holds something else than it should.
local function peek(command, ...)
  local answer = redis.pcall(command, ...)
  if type(answer) == 'table' and answer.err then
    return nil
  end
  return answer or nil
end

-- True if a comes before b in the order of their bytes, in which the server has the members of a
-- sorted set. Lua's own comparison follows the locale that the server was started with.
local function comes_before(a, b)
  local n = 1
  while n <= #a and string.sub(a, n, n + 15) == string.sub(b, n, n + 15) do
    n = n + 16
  end
  for i = n, n + 15 do
    local x, y = string.byte(a, i) or -1, string.byte(b, i) or -1
    if x ~= y then
      return x < y
    end
  end
  return false
end

-- A reply of names and values, as a table.
local function named(flat)
  local found = {}
  for i = 1, #flat, 2 do
    found[flat[i]] = flat[i + 1]
  end
  return found
end

-- The entry up to which a level's tasks have been taken, or nil if none has.
local function taken_up_to(stream)
  for _, flat in ipairs(peek('XINFO', 'GROUPS', stream) or {}) do
    local group = named(flat)
    if group.name == 'x' and group['last-delivered-id'] ~= '0-0' then
      return group['last-delivered-id']
    end
  end
  return nil
end

-- A list of n values as two: their lengths (packed; -1 for false) and all of them one behind the
-- other. Clients read that many times faster than an array of them.
local function framed(values, n)
  local lengths, joined = {}, {}
  for i = 1, n do
    lengths[i] = values[i] and #values[i] or -1
    joined[i] = values[i] or ''
  end
  return pack(lengths), table.concat(joined)
end
