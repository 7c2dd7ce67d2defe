-- Names of the places in which tasks lie, or of what others have made there.
--
-- KEYS: [1] {namespace}:meta
-- ARGV: 1: lanes, workers or groups; or lines  2, 3: the first and the last (as ZRANGEBYLEX takes them)
--         4: at most so many
-- RETURN: the names; of lanes and workers in no order, of lines <lane>\0<key> in order; of consumer
--         groups of others <stream's key without the prefix> <group>
-- libs: base looking
-- flags: no-writes

local function lanes()
  local seen, found = {}, {}
  local function add(lane)
    if not seen[lane] then
      seen[lane] = true
      found[#found + 1] = lane
    end
  end
  for _, lane in ipairs(peek('HKEYS', P .. 'lanes') or {}) do
    add(lane)
  end
  for _, lane in pairs(named(peek('HGETALL', P .. 'types') or {})) do
    add(lane)
  end
  for _, name in ipairs(peek('HKEYS', P .. 'counts') or {}) do
    add(string.match(name, '^[^/]*'))
  end
  return found
end

local function groups()
  local found = {}
  for _, lane in ipairs(lanes()) do
    for level = 0, 9 do
      local stream = 'r:' .. lane .. ':' .. level
      for _, group in ipairs(peek('XINFO', 'GROUPS', P .. stream) or {}) do
        if named(group).name ~= 'x' then
          found[#found + 1] = stream .. ' ' .. named(group).name
        end
      end
    end
  end
  return found
end

if ARGV[1] == 'lanes' then
  return lanes()
elseif ARGV[1] == 'groups' then
  return groups()
elseif ARGV[1] == 'workers' then
  return peek('HKEYS', P .. 'workers') or {}
end
return peek('ZRANGEBYLEX', P .. 'lines', ARGV[2], ARGV[3], 'LIMIT', 0, ARGV[4]) or {}
