// The signatures of Unity that Gen3dMaker.cs uses, and as much behaviour as its test looks at: there is no Unity to
// compile it with.
using System;

namespace UnityEngine
{
    public struct Vector3
    {
        public float x, y, z;
        public Vector3(float x, float y, float z) { this.x = x; this.y = y; this.z = z; }
    }

    public class Object
    {
        public bool destroyed;
        public static void Destroy(Object what) { what.destroyed = true; }
    }

    public sealed class Mesh : Object
    {
        public Rendering.IndexFormat indexFormat;
        public Vector3[] vertices, normals;
        public int[] triangles;
        public void RecalculateBounds() { }
    }

    public class Component : Object { }

    public sealed class MeshFilter : Component
    {
        public Mesh mesh;
    }

    public sealed class MeshRenderer : Component { }

    public class MonoBehaviour : Component
    {
        private readonly MeshFilter filter = new MeshFilter();
        public T GetComponent<T>() where T : Component { return (T)(Component)filter; }
    }

    [AttributeUsage(AttributeTargets.Class)]
    public sealed class RequireComponent : Attribute
    {
        public RequireComponent(Type first, Type second) { }
    }
}

namespace UnityEngine.Rendering
{
    public enum IndexFormat { UInt16, UInt32 }
}
